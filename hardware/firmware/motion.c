#include "motion.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <math.h>
#include <stdlib.h>
#include <util/atomic.h>

#include "light.h"

enum { STEP = _BV(PD2), DIRECTION = _BV(PD5), DISABLE = _BV(PB0) };
enum { BOTH_SWITCHES = HOME_SWITCH | FAR_SWITCH };

#define STEP_CLOCK (F_CPU / 8)
#define SEEK_SPEED 800    /* steps/s, or less */
#define SEEK_MARGIN 1000  /* search this far beyond the soft limits */
#define RELEASE_SPEED 100 /* steps/s: the edge that makes step 0 is met slowly */
#define RELEASE_STEPS 400 /* the switch closes within these, or it is stuck */
#define BACKOFF_STEPS 100 /* from that edge to step 0 */

static volatile enum phase phase;
static volatile enum reason alarm;
static volatile bool homed;
static volatile int32_t position;
static volatile uint8_t happened;

static struct limits soft = {0, 20000};
static struct speed set;

/* The motion in progress. Intervals between steps are in 1/256 of a period of the step clock. */
static volatile uint32_t remaining, ramp; /* steps to go; steps that stopping takes */
static volatile bool stopping;            /* ends before its target */
static int8_t heading;
static uint8_t watched; /* switches that must stay closed */
static uint32_t interval, cruise;

/* Normally closed to ground: pressed, unplugged and broken all read high. */
static uint8_t open_switches(void)
{
    return PINB & BOTH_SWITCHES;
}

static uint32_t interval_of(uint16_t steps_per_second)
{
    return (STEP_CLOCK << 8) / steps_per_second;
}

/* From rest, of a constant acceleration; 0.676 makes up for the first steps of the recurrence. */
static uint32_t first_interval(void)
{
    return 0.676 * 256 * STEP_CLOCK * sqrt(2.0 / set.acceleration);
}

static void schedule(void)
{
    OCR1A = (interval >> 8) - 1;
}

static void head(int8_t to)
{
    heading = to;
    if (to > 0)
        PORTD |= DIRECTION;
    else
        PORTD &= ~DIRECTION;
}

/* No pulse after this one, not even one that is due. */
static void halt(void)
{
    TCCR1B = 0;
    TIFR1 = _BV(OCF1A);
    phase = REST;
}

/* Steps cut off at speed leave the position unknown. */
void enter_alarm(enum reason why)
{
    darken();
    if (phase != REST) {
        halt();
        homed = false;
    }
    alarm = why;
    happened |= ALARMED;
}

/* Next interval, by D. Austin's recurrence: up and down the ramp are inverse to each other. */
static void pace(void)
{
    if (remaining <= ramp) {
        interval += 2 * interval / (4 * ramp - 1);
        --ramp;
    } else if (interval > cruise) {
        ++ramp;
        interval -= 2 * interval / (4 * ramp + 1);
        if (interval < cruise)
            interval = cruise;
    }
    schedule();
}

static void turn_away(void)
{
    phase = RELEASE;
    head(+1);
    watched = FAR_SWITCH;
    remaining = RELEASE_STEPS;
    ramp = 0;
    interval = cruise = interval_of(RELEASE_SPEED);
    schedule();
}

static void arrive(void)
{
    if (phase == SEEK || phase == RELEASE) {
        enter_alarm(SEARCH);
        return;
    }
    if (phase == BACKOFF) {
        position = 0;
        homed = true;
        happened |= HOMED;
    } else
        happened |= stopping ? STOPPED : DONE;
    halt();
}

ISR(TIMER1_COMPA_vect)
{
    const uint8_t open = open_switches();
    const uint8_t hit = open & watched;
    if (phase == SEEK && hit == HOME_SWITCH) {
        turn_away();
        return;
    }
    if (hit) {
        enter_alarm(hit & HOME_SWITCH ? HOME_OPEN : FAR_OPEN);
        return;
    }
    if (phase == RELEASE && !(open & HOME_SWITCH)) {
        phase = BACKOFF;
        remaining = BACKOFF_STEPS;
    }
    PORTD |= STEP;
    position += heading;
    if (--remaining)
        pace(); /* takes longer than the pulse has to be */
    else
        arrive();
    PORTD &= ~STEP;
}

/* A motion lasts until its event is taken, so that no event is mistaken for the next one's. */
static bool busy(void)
{
    return phase != REST || happened;
}

/* Leave by `steps`, not 0. A switch that is open behind the start is not watched. */
static enum error leave(enum phase as, int32_t steps, uint16_t steps_per_second)
{
    const uint8_t ahead = steps > 0 ? FAR_SWITCH : HOME_SWITCH;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        const uint8_t open = open_switches();
        if (alarm)
            return ALARM;
        if (open & ahead)
            return SWITCH;
        watched = BOTH_SWITCHES & ~open;
        head(steps > 0 ? 1 : -1);
        PORTB &= ~DISABLE;
        remaining = labs(steps);
        ramp = 0;
        stopping = false;
        cruise = interval_of(steps_per_second);
        interval = first_interval();
        if (interval < cruise)
            interval = cruise;
        phase = as;
        schedule();
        TCNT1 = 0;
        TCCR1B = _BV(WGM12) | _BV(CS11);
    }
    return NONE;
}

enum error move_to(int32_t target)
{
    if (alarm)
        return ALARM;
    if (busy())
        return BUSY;
    const int32_t distance = target - position;
    if (!homed && labs(distance) > JOG)
        return HOME;
    if (homed && (target < soft.low || target > soft.high))
        return LIMITS;
    if (!distance) {
        ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { happened |= DONE; }
        return NONE;
    }
    return leave(MOVING, distance, set.cruise);
}

enum error go_home(void)
{
    if (alarm)
        return ALARM;
    if (busy())
        return BUSY;
    const uint16_t seek = set.cruise < SEEK_SPEED ? set.cruise : SEEK_SPEED;
    const enum error error = open_switches() & HOME_SWITCH
                                 ? leave(RELEASE, RELEASE_STEPS, RELEASE_SPEED)
                                 : leave(SEEK, -(soft.high + SEEK_MARGIN), seek);
    if (!error)
        homed = false;
    return error;
}

/* Slow down; homing has no position to keep and is cut short. */
void stop(void)
{
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (phase == MOVING) {
            stopping = true;
            if (remaining > ramp)
                remaining = ramp ? ramp : 1;
        } else if (phase != REST) {
            halt();
            happened |= STOPPED;
        }
    }
}

/* Only an alarm that has been told: a newer one may have come after the request. */
enum error clear_alarm(void)
{
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (happened & ALARMED)
            return ALARM;
        alarm = NO_ALARM;
    }
    return NONE;
}

enum error set_limits(struct limits to)
{
    if (busy())
        return BUSY;
    if (to.low < 0 || to.high > RANGE || to.low > to.high)
        return ARGUMENT;
    soft = to;
    return NONE;
}

enum error set_speed(struct speed to)
{
    if (busy())
        return BUSY;
    set = to;
    return NONE;
}

struct limits limits(void)
{
    return soft;
}

struct speed speed(void)
{
    return set;
}

struct motion motion(void)
{
    struct motion copy;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        copy = (struct motion){position, phase, alarm, homed, open_switches()};
    }
    return copy;
}

uint8_t take_events(void)
{
    uint8_t events;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        events = happened;
        happened = 0;
    }
    return events;
}

void start_motion(void)
{
    set = (struct speed){1000, 4000};
    PORTB |= DISABLE | BOTH_SWITCHES; /* driver off; pull-ups */
    DDRB |= DISABLE;
    DDRD |= STEP | DIRECTION;
    TIMSK1 = _BV(OCIE1A);
}
