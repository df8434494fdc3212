#include "light.h"

#include <avr/io.h>
#include <util/atomic.h>

#include "clock.h"

enum { LIGHT = _BV(PB3), FAST_PWM = _BV(WGM21) | _BV(WGM20), FULL = 255 };

static volatile uint8_t level;
static uint32_t lit_at, limit = 600000;

/* The pin leaves the timer, which would still give one clock of light in 256. */
void darken(void)
{
    TCCR2A = TCCR2B = 0;
    PORTB &= ~LIGHT;
    level = 0;
}

void start_light(void)
{
    darken();
    DDRB |= LIGHT;
}

void set_light(uint8_t to)
{
    lit_at = now();
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        darken();
        level = OCR2A = to;
        if (to == FULL)
            PORTB |= LIGHT;
        else if (to) {
            TCCR2A = _BV(COM2A1) | FAST_PWM;
            TCCR2B = _BV(CS20);
        }
    }
}

void set_light_limit(uint32_t time)
{
    limit = time;
}

uint8_t light(void)
{
    return level;
}

uint32_t light_limit(void)
{
    return limit;
}

uint32_t light_left(void)
{
    const uint32_t lit = now() - lit_at;
    return level && lit < limit ? limit - lit : 0;
}

bool light_expired(void)
{
    if (!level || !limit || now() - lit_at < limit)
        return false;
    set_light(0);
    return true;
}
