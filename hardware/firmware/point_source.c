/* Point source: one LED, one stepper axis, one serial line. ATmega328P, 16 MHz.
 *
 * Interrupts do what must not wait: clock.c the time, motion.c the step pulses and their switches,
 * serial.c the bytes and the emergency stop. The loop here does the rest, one line at a time.
 * README.md has the wiring and the protocol.
 */

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <stdlib.h>
#include <string.h>
#include <util/atomic.h>

#include "clock.h"
#include "light.h"
#include "motion.h"
#include "serial.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const char *const errors[] = {"",       "checksum", "length",   "unfinished",
                                     "command", "argument", "alarm",    "home",
                                     "limits",  "busy",     "switch"};
static const char *const reasons[] = {"none", "estop", "home", "far", "search"};

/* ---- reset */

/* Not set at start: `boots` counts resets; a bootloader leaves what it found in MCUSR. */
static uint16_t boots __attribute__((section(".noinit")));
static uint8_t loader_flags __attribute__((section(".noinit")));
static uint8_t reset_flags;

/* Optiboot clears MCUSR and hands it over in r2, which is lost when C starts. */
__attribute__((naked, used, section(".init0"))) static void keep_loader_flags(void)
{
    __asm__ volatile("sts %0, r2" : "=m"(loader_flags));
}

/* Power-on comes first: the supply passes the brown-out level when it rises. */
static const char *reset_cause(void)
{
    return reset_flags & _BV(PORF)    ? "power"
           : reset_flags & _BV(BORF)  ? "brownout"
           : reset_flags & _BV(WDRF)  ? "watchdog"
           : reset_flags & _BV(EXTRF) ? "external"
                                      : "unknown";
}

/* ---- dead-man */

static uint32_t alive_time, last_request; /* 0 = none; [ms] */
static bool expecting;

static void watch_host(void)
{
    if (!alive_time || !expecting || now() - last_request < alive_time)
        return;
    expecting = false;
    set_light(0);
    stop();
    say("EVT deadman");
    end_line();
}

/* ---- replies */

static void say_identity(void)
{
    char digits[11];
    say(" name=point-source protocol=1 axes=1");
    say_number(" range=0,", RANGE);
    say_number(" jog=", JOG);
    say_number(" boot=", boots);
    say(" up=");
    say(ultoa(now(), digits, 10));
    say(" reset=");
    say(reset_cause());
}

static void say_motion(void)
{
    const struct motion is = motion();
    say_number(" pos=", is.position);
    say(" state=");
    say(is.alarm              ? "alarm"
        : is.phase == REST    ? "idle"
        : is.phase == MOVING  ? "moving"
                              : "homing");
    say_number(" homed=", is.homed);
    say_number(" home=", (is.open & HOME_SWITCH) != 0);
    say_number(" far=", (is.open & FAR_SWITCH) != 0);
    say(" alarm=");
    say(reasons[is.alarm]);
}

static void say_light(void)
{
    say_number(" led=", light());
    say_number(" left=", light_left());
}

static void say_light_limit(void)
{
    say_number(" ledtime=", light_limit());
}

static void say_limits(void)
{
    say_number(" low=", limits().low);
    say_number(" high=", limits().high);
}

static void say_speed(void)
{
    say_number(" speed=", speed().cruise);
    say_number(" accel=", speed().acceleration);
}

static void say_alive(void)
{
    say_number(" alive=", alive_time);
}

/* ---- requests */

static bool within(int32_t value, int32_t low, int32_t high)
{
    return low <= value && value <= high;
}

static enum error ask(const int32_t *unused)
{
    (void)unused;
    return NONE;
}

static enum error move(const int32_t *to)
{
    return move_to(to[0]);
}

static enum error home(const int32_t *unused)
{
    (void)unused;
    return go_home();
}

static enum error end_motion(const int32_t *unused)
{
    (void)unused;
    stop();
    return NONE;
}

static enum error clear(const int32_t *unused)
{
    (void)unused;
    return clear_alarm();
}

static enum error light_up(const int32_t *level)
{
    if (!within(level[0], 0, 255))
        return ARGUMENT;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        if (level[0] && motion().alarm)
            return ALARM;
        set_light(level[0]);
    }
    return NONE;
}

static enum error limit_light(const int32_t *time)
{
    if (!within(time[0], 0, 86400000))
        return ARGUMENT;
    set_light_limit(time[0]);
    return NONE;
}

static enum error limit(const int32_t *ends)
{
    return set_limits((struct limits){ends[0], ends[1]});
}

static enum error hasten(const int32_t *to)
{
    if (!within(to[0], 50, 5000) || !within(to[1], 1000, 50000))
        return ARGUMENT;
    return set_speed((struct speed){to[0], to[1]});
}

static enum error stay_alive(const int32_t *time)
{
    if (time[0] && !within(time[0], 100, 60000))
        return ARGUMENT;
    alive_time = time[0];
    return NONE;
}

#define MOST_ARGUMENTS 2

static const struct {
    const char *name;
    uint8_t arguments;
    enum error (*execute)(const int32_t *arguments);
    void (*reply)(void);
} commands[] = {
    {"ID?", 0, ask, say_identity},          {"POS?", 0, ask, say_motion},
    {"MOVE", 1, move, say_motion},          {"HOME", 0, home, say_motion},
    {"STOP", 0, end_motion, say_motion},    {"CLR", 0, clear, say_motion},
    {"LED", 1, light_up, say_light},        {"LED?", 0, ask, say_light},
    {"LEDTIME", 1, limit_light, say_light_limit}, {"LEDTIME?", 0, ask, say_light_limit},
    {"LIM", 2, limit, say_limits},          {"LIM?", 0, ask, say_limits},
    {"SPEED", 2, hasten, say_speed},          {"SPEED?", 0, ask, say_speed},
    {"ALIVE", 1, stay_alive, say_alive},    {"ALIVE?", 0, ask, say_alive},
};

/* ---- lines */

static void refuse(uint16_t tag, enum error error)
{
    say_number("ERR ", tag);
    say_number(" ", error);
    say(" ");
    say(errors[error]);
    end_line();
}

/* All of `text`, at most nine digits. */
static bool parse(const char *text, int32_t *value)
{
    const char *digits = text + (*text == '-');
    const size_t length = strlen(digits);
    if (!length || length > 9 || strspn(digits, "0123456789") != length)
        return false;
    *value = atol(text);
    return true;
}

static void execute(char *line)
{
    int32_t tag, arguments[MOST_ARGUMENTS];
    uint8_t count = 0;
    const char *const first = strsep(&line, " ");
    const char *const name = strsep(&line, " ");
    if (!parse(first, &tag) || !within(tag, 1, 65535)) {
        refuse(0, ARGUMENT);
        return;
    }
    for (uint8_t i = 0; name && i < COUNT(commands); ++i) {
        if (strcmp(name, commands[i].name))
            continue;
        enum error error = NONE;
        while (line && !error)
            if (count == MOST_ARGUMENTS || !parse(strsep(&line, " "), &arguments[count++]))
                error = ARGUMENT;
        if (!error)
            error = count == commands[i].arguments ? commands[i].execute(arguments) : ARGUMENT;
        if (error) {
            refuse(tag, error);
            return;
        }
        say_number("OK ", tag);
        commands[i].reply();
        end_line();
        return;
    }
    refuse(tag, COMMAND);
}

/* ---- events */

static void say_place(const char *event)
{
    say(event);
    say_number(" pos=", motion().position);
}

static void report(void)
{
    const uint8_t events = take_events();
    if (events & (DONE | STOPPED | HOMED)) {
        say_place(events & DONE ? "EVT done" : events & HOMED ? "EVT homed" : "EVT stopped");
        end_line();
    }
    if (events & ALARMED) {
        say("EVT alarm reason=");
        say(reasons[motion().alarm]);
        say_place("");
        say_number(" homed=", motion().homed);
        end_line();
    }
    if (light_expired()) {
        say("EVT led reason=timeout");
        end_line();
    }
}

int main(void)
{
    char line[LINE_LENGTH + 1];
    enum error error;

    reset_flags = MCUSR;
    if (!reset_flags && loader_flags < 16)
        reset_flags = loader_flags;
    MCUSR = 0;
    wdt_enable(WDTO_250MS);
    ++boots;

    start_light();
    start_motion();
    start_clock();
    start_serial();
    sei();

    say("EVT boot reset=");
    say(reset_cause());
    say_number(" boot=", boots);
    end_line();
    for (;;) {
        wdt_reset();
        report();
        watch_host();
        if (!take_line(line, &error))
            sleep_mode(); /* until the next interrupt, 1 ms at most */
        else if (error)
            refuse(0, error);
        else {
            last_request = now();
            expecting = true;
            execute(line);
        }
    }
}
