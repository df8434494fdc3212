#include "serial.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <stdlib.h>
#include <string.h>
#include <util/atomic.h>
#include <util/crc16.h>

#include "clock.h"
#include "motion.h"

#define BAUD 115200
#define BAUD_TOL 3 /* [%]: 16 MHz makes 117647 */
#include <util/setbaud.h>

#define PAUSE 250    /* half a line is dropped after this time [ms] */
#define DAMAGED '\0' /* stands in for bytes that were lost: no line may contain it */

static const char hex[] = "0123456789ABCDEF";

/* Ring buffers; indices of 8 bits wrap with them. */
static volatile uint8_t received[256], received_head, received_tail;
static volatile uint8_t sent[256], sent_head, sent_tail;

ISR(USART_RX_vect)
{
    const bool damaged = UCSR0A & (_BV(FE0) | _BV(DOR0));
    uint8_t byte = UDR0;
    if (byte == '!') {
        enter_alarm(ESTOP);
        received_tail = received_head; /* what came before it must not act after it */
        byte = '\n';
    } else if (damaged)
        byte = DAMAGED;
    const uint8_t next = received_head + 1;
    if (next == received_tail) {
        received[(uint8_t)(received_head - 1)] = DAMAGED;
        return;
    }
    received[received_head] = byte;
    received_head = next;
}

ISR(USART_UDRE_vect)
{
    if (sent_head == sent_tail)
        UCSR0B &= ~_BV(UDRIE0);
    else
        UDR0 = sent[sent_tail++];
}

static bool take_byte(char *byte)
{
    bool any;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        any = received_head != received_tail;
        if (any)
            *byte = received[received_tail++];
    }
    return any;
}

/* Cut the checksum off a line of this length; false if it is not the right one. */
static bool check(char *line, uint8_t length)
{
    if (length < 3 || line[length - 3] != '*')
        return false;
    uint8_t sum = 0;
    for (uint8_t i = 0; i < length - 3; ++i)
        sum = _crc8_ccitt_update(sum, line[i]);
    line[length - 3] = '\0';
    return line[length - 2] == hex[sum >> 4] && line[length - 1] == hex[sum & 15];
}

bool take_line(char line[LINE_LENGTH + 1], enum error *error)
{
    static uint8_t length;
    static enum error broken;
    static uint32_t last_byte;
    char byte;
    while (take_byte(&byte)) {
        last_byte = now();
        if (byte == '\r')
            continue;
        if (byte != '\n') {
            if (byte < ' ' || byte > '~')
                broken = broken ? broken : CHECKSUM;
            if (length < LINE_LENGTH)
                line[length++] = byte;
            else
                broken = LENGTH;
            continue;
        }
        if (!length)
            continue;
        *error = broken ? broken : check(line, length) ? NONE : CHECKSUM;
        length = 0;
        broken = NONE;
        return true;
    }
    if (!length || now() - last_byte < PAUSE)
        return false;
    *error = UNFINISHED;
    length = 0;
    broken = NONE;
    return true;
}

static uint8_t checksum;

static void say_byte(uint8_t byte)
{
    const uint8_t next = sent_head + 1;
    while (next == sent_tail)
        ;
    sent[sent_head] = byte;
    sent_head = next;
    checksum = _crc8_ccitt_update(checksum, byte);
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { UCSR0B |= _BV(UDRIE0); }
}

void say(const char *text)
{
    while (*text)
        say_byte(*text++);
}

void say_number(const char *before, int32_t value)
{
    char digits[12];
    say(before);
    say(ltoa(value, digits, 10));
}

void end_line(void)
{
    const uint8_t sum = checksum;
    say_byte('*');
    say_byte(hex[sum >> 4]);
    say_byte(hex[sum & 15]);
    say_byte('\n');
    checksum = 0;
}

void start_serial(void)
{
    UBRR0 = UBRR_VALUE;
    UCSR0A = USE_2X ? _BV(U2X0) : 0;
    sent[sent_head++] = '\n'; /* ends the line that a reset may have cut off */
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0) | _BV(UDRIE0);
}
