/* Why a request was not executed; the numbers are those of the protocol. */

#pragma once

enum error { NONE, CHECKSUM, LENGTH, UNFINISHED, COMMAND, ARGUMENT, ALARM, HOME, LIMITS, BUSY, SWITCH };
