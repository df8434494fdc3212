/* Time since the reset [ms]; wraps after 49.7 days, so compare differences. Timer 0. */

#pragma once

#include <stdint.h>

void start_clock(void);
uint32_t now(void);
