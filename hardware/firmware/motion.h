/* The axis: step pulses with ramps, switches, homing, alarms. Timer 1.
 *
 * Lengths are steps, away from home is positive. Commands start a motion and return; how it ended
 * is told by take_events().
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "errors.h"

#define RANGE 1000000L /* highest soft limit */
#define JOG 200        /* longest move of an axis that is not homed */

enum phase { REST, MOVING, SEEK, RELEASE, BACKOFF };
enum reason { NO_ALARM, ESTOP, HOME_OPEN, FAR_OPEN, SEARCH };
enum event { DONE = 1, STOPPED = 2, HOMED = 4, ALARMED = 8 };
enum { HOME_SWITCH = 1 << 1, FAR_SWITCH = 1 << 2 }; /* bits of port B */

struct limits {
    int32_t low, high;
};

struct speed {
    uint16_t cruise;       /* [steps/s] */
    uint16_t acceleration; /* [steps/s^2] */
};

struct motion {
    int32_t position;
    enum phase phase;
    enum reason alarm;
    bool homed;
    uint8_t open; /* switches */
};

void start_motion(void);
enum error move_to(int32_t position);
enum error go_home(void);
void stop(void);
enum error clear_alarm(void);
enum error set_limits(struct limits to);
enum error set_speed(struct speed to);
struct limits limits(void);
struct speed speed(void);
struct motion motion(void);
uint8_t take_events(void); /* what happened since the last call */

void enter_alarm(enum reason why); /* for interrupts */
