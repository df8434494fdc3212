/* The LED: pulse widths on PB3 at 62.5 kHz, for a limited time. Timer 2. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

void start_light(void);
void set_light(uint8_t level);       /* 0 is off; restarts the on-time */
void set_light_limit(uint32_t time); /* longest on-time [ms]; 0 = none */
uint8_t light(void);
uint32_t light_limit(void);
uint32_t light_left(void); /* [ms]; 0 if dark or without limit */
bool light_expired(void);  /* true once, when the on-time has passed and the LED went off */

void darken(void); /* for interrupts */
