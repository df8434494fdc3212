/* Lines with checksums over the UART, 115200 8N1. */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "errors.h"

#define LINE_LENGTH 48

void start_serial(void);

/* Take the next line: false if there is none yet. It comes without its checksum, or as an error. */
bool take_line(char line[LINE_LENGTH + 1], enum error *error);

/* A line is said piece by piece; the checksum is added at its end. */
void say(const char *text);
void say_number(const char *before, int32_t value);
void end_line(void);
