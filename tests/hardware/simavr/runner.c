/* Runs the point-source firmware in simavr behind a pseudo-terminal, with a virtual stage.
 *
 *     runner firmware.elf speed
 *
 * Its first line of output is the path of the terminal. Then it answers each line of standard
 * input with one line, and ends when standard input does:
 *
 *     state              what the pins did, as JSON
 *     edges              cycles of the latest step edges, as JSON
 *     stage <at> <end>   put the stage at a step; home opens at 0 and below, far from `end` on
 *     home|far <auto|open|closed>      follow the stage, or not
 *     reset <power|external|brownout|watchdog>         flags set by the controller
 *     reset <optiboot|bootloader>      brown-out, handed over by a bootloader or lost in one
 *     freeze             stop the firmware's clock, as a program that hangs would
 *     speed <factor>     simulated over real time, at most
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "avr_extint.h"
#include "avr_ioport.h"
#include "avr_uart.h"
#include "sim_avr.h"
#include "sim_elf.h"

enum { CLOCK = 16000000, SLICE = CLOCK / 1000, BYTE = CLOCK * 10ULL / 115200 };
enum { WINDOW = 256 * 256 }; /* cycles over which the duty is measured: whole periods */
enum { STEP = 2, DIRECTION = 5 /* port D */, DISABLE = 0, HOME = 1, FAR = 2, LIGHT = 3 /* B */ };
enum { MCUSR_AT = 0x54, TIMSK0_AT = 0x6E };
enum { LOG = 1 << 16 };

static avr_t *avr;
static FILE *answers; /* standard output; simavr's own words go to standard error */
static avr_irq_t *uart_in, *home_pin, *far_pin;
static int terminal;
static bool uart_ready = true;

static int64_t stage = 1000, end_of_stage = 30000;
static enum { AUTO, OPEN, CLOSED } home_mode, far_mode;

static bool step, away, light;
static uint64_t edges, edge_at[LOG], step_at, shortest_pulse = UINT64_MAX;
static uint64_t direction_at, shortest_setup = UINT64_MAX;
static uint64_t light_at, lit, window_at;
static double duty;
static double speed, paced_from; /* simulated over real time; since then [s], and since: */
static uint64_t paced_from_cycle;
static uint64_t received_at;

static void drive_switches(void)
{
    const bool home = home_mode == AUTO ? stage <= 0 : home_mode == OPEN;
    const bool far = far_mode == AUTO ? stage >= end_of_stage : far_mode == OPEN;
    /* Stronger than the pull-ups, which else have the last word when the port is written. */
    avr_ioport_external_t outside = {'B', 1 << HOME | 1 << FAR, home << HOME | far << FAR};
    avr_ioctl(avr, AVR_IOCTL_IOPORT_SET_EXTERNAL('B'), &outside);
    avr_raise_irq(home_pin, home);
    avr_raise_irq(far_pin, far);
}

static bool driven(char port, int pin)
{
    avr_ioport_state_t state = {0};
    avr_ioctl(avr, AVR_IOCTL_IOPORT_GETSTATE(port), &state);
    return state.ddr >> pin & 1;
}

static void on_step(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    if ((value & 1) == step || !driven('D', STEP))
        return;
    step = value & 1;
    if (!step) {
        const uint64_t width = avr->cycle - step_at;
        shortest_pulse = width < shortest_pulse ? width : shortest_pulse;
        return;
    }
    step_at = edge_at[edges++ % LOG] = avr->cycle;
    const uint64_t setup = step_at - direction_at;
    shortest_setup = setup < shortest_setup ? setup : shortest_setup;
    stage += away ? 1 : -1;
    drive_switches();
}

static void on_direction(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    if ((value & 1) == away)
        return;
    away = value & 1;
    direction_at = avr->cycle;
}

static void on_light(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    if (light)
        lit += avr->cycle - light_at;
    light = (value & 1) && driven('B', LIGHT);
    light_at = avr->cycle;
}

static void on_sent(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)unused;
    const uint8_t byte = value;
    if (write(terminal, &byte, 1) < 0)
        return; /* nobody reads: lost, as on a wire */
}

static void on_ready(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)value, (void)unused;
    uart_ready = true;
}

static void on_full(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq, (void)value, (void)unused;
    uart_ready = false;
}

/* Sleeping takes simulated time only; the real time is kept in main(). */
static void on_sleep(avr_t *asleep, avr_cycle_count_t cycles)
{
    (void)asleep, (void)cycles;
}

static void measure_duty(void)
{
    if (avr->cycle - window_at < WINDOW)
        return;
    on_light(NULL, light, NULL);
    duty = (double)lit / (avr->cycle - window_at);
    lit = 0;
    window_at = avr->cycle;
}

/* `flags` as the controller has them at start, `r2` as a bootloader may have left it. */
static void reset(uint8_t flags, uint8_t r2)
{
    avr_reset(avr);
    avr->data[MCUSR_AT] = flags;
    avr->data[2] = r2;
    for (int input = 0; input < 2; ++input) /* else it looks at the step pin every cycle */
        avr_extint_set_strict_lvl_trig(avr, input, 0);
    step = away = false;
    on_light(NULL, 0, NULL);
    drive_switches();
}

static bool reset_named(const char *name)
{
    static const struct {
        const char *name;
        uint8_t flags, r2;
    } causes[] = {{"power", 5, 0xFF},    {"external", 2, 0xFF}, {"brownout", 4, 0xFF},
                  {"watchdog", 8, 0xFF}, {"optiboot", 0, 4},    {"bootloader", 0, 0xFF}};
    for (unsigned i = 0; i < sizeof causes / sizeof *causes; ++i)
        if (!strcmp(name, causes[i].name)) {
            reset(causes[i].flags, causes[i].r2);
            return true;
        }
    return false;
}

static void print_state(void)
{
    fprintf(answers, "{\"cycle\": %llu, \"stage\": %lld, \"edges\": %llu, \"duty\": %.4f, \"home\": %d, "
           "\"far\": %d, \"enabled\": %d, \"shortest_pulse\": %llu, \"shortest_setup\": %llu, "
            "\"received\": %llu}\n",
           (unsigned long long)avr->cycle, (long long)stage, (unsigned long long)edges, duty,
           (int)home_pin->value, (int)far_pin->value,
           driven('B', DISABLE) && !(avr->data[0x25] & 1 << DISABLE),
           (unsigned long long)shortest_pulse, (unsigned long long)shortest_setup,
           (unsigned long long)received_at);
}

static void print_edges(void)
{
    putc('[', answers);
    for (uint64_t i = edges > LOG ? edges - LOG : 0; i < edges; ++i)
        fprintf(answers, "%s%llu", i && i != edges - LOG ? ", " : "",
                (unsigned long long)edge_at[i % LOG]);
    fputs("]\n", answers);
}

static bool set_mode(const char *which, const char *to)
{
    static const char *const modes[] = {"auto", "open", "closed"};
    for (int mode = AUTO; mode <= CLOSED; ++mode)
        if (!strcmp(to, modes[mode])) {
            *(strcmp(which, "home") ? &far_mode : &home_mode) = mode;
            drive_switches();
            return true;
        }
    return false;
}

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void pace_from_now(void)
{
    paced_from = seconds();
    paced_from_cycle = avr->cycle;
}

static void obey(const char *line)
{
    char word[16] = "", argument[16] = "";
    long at, end;
    bool good = true;
    sscanf(line, "%15s %15s", word, argument);
    if (!strcmp(word, "state"))
        return print_state();
    if (!strcmp(word, "edges"))
        return print_edges();
    if (sscanf(line, "stage %ld %ld", &at, &end) == 2) {
        stage = at;
        end_of_stage = end;
        drive_switches();
    } else if (!strcmp(word, "home") || !strcmp(word, "far"))
        good = set_mode(word, argument);
    else if (!strcmp(word, "reset"))
        good = reset_named(argument);
    else if (!strcmp(word, "freeze"))
        avr->data[TIMSK0_AT] = 0;
    else if (!strcmp(word, "speed")) {
        speed = atof(argument);
        pace_from_now();
    } else
        good = false;
    fputs(good ? "ok\n" : "unknown\n", answers);
}

static avr_irq_t *pin_of(char port, int pin)
{
    return avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ(port), pin);
}

static void power_up(const char *elf)
{
    static elf_firmware_t firmware;
    avr = avr_make_mcu_by_name("atmega328p");
    if (elf_read_firmware(elf, &firmware) || !avr)
        exit(1);
    avr_init(avr);
    avr->log = LOG_ERROR;
    avr->frequency = CLOCK;
    avr_load_firmware(avr, &firmware);
    avr->frequency = CLOCK;
    avr->sleep = on_sleep;

    uint32_t no_echo = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &no_echo);
    const uint32_t uart = AVR_IOCTL_UART_GETIRQ('0');
    uart_in = avr_io_getirq(avr, uart, UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUTPUT), on_sent, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XON), on_ready, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XOFF), on_full, NULL);
    avr_irq_register_notify(pin_of('D', STEP), on_step, NULL);
    avr_irq_register_notify(pin_of('D', DIRECTION), on_direction, NULL);
    avr_irq_register_notify(pin_of('B', LIGHT), on_light, NULL);
    home_pin = pin_of('B', HOME);
    far_pin = pin_of('B', FAR);
    reset_named("power");
}

/* The terminal stays open at both ends: it is there before a program opens it and after. */
static void open_terminal(void)
{
    int other;
    char path[64];
    struct termios raw;
    memset(&raw, 0, sizeof raw);
    cfmakeraw(&raw);
    raw.c_cflag |= CREAD | CLOCAL;
    if (openpty(&terminal, &other, path, &raw, NULL))
        exit(1);
    fcntl(terminal, F_SETFL, O_NONBLOCK);
    fprintf(answers, "%s\n", path);
}

/* One byte at a time, as fast as the line carries them. */
static avr_cycle_count_t receive(avr_t *receiver, avr_cycle_count_t when, void *unused)
{
    (void)receiver, (void)unused;
    uint8_t byte;
    if (uart_ready && read(terminal, &byte, 1) == 1) {
        received_at = when;
        avr_raise_irq(uart_in, byte);
    }
    return when + BYTE;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    speed = atof(arguments[2]);
    answers = fdopen(dup(STDOUT_FILENO), "w");
    setvbuf(answers, NULL, _IOLBF, 0);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    open_terminal();
    power_up(arguments[1]);
    pace_from_now();
    for (;;) {
        if (!avr_cycle_timer_status(avr, receive, NULL)) /* at first, and after resets */
            avr_cycle_timer_register(avr, BYTE, receive, NULL);
        for (uint64_t until = avr->cycle + SLICE; avr->cycle < until;) {
            const int state = avr_run(avr);
            if (state == cpu_Done || state == cpu_Crashed)
                return 3;
        }
        measure_duty();

        /* Ahead of time: wait. Behind: forget it, a burst would be too fast for the other side. */
        const double simulated = (double)(avr->cycle - paced_from_cycle) / CLOCK;
        const double ahead = simulated / speed - (seconds() - paced_from);
        if (ahead < 0)
            pace_from_now();
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        const struct timespec wait = {0, ahead > 0 ? (ahead < 0.01 ? ahead : 0.01) * 1e9 : 0};
        if (ppoll(&input, 1, &wait, NULL) > 0) {
            char line[80];
            if (!fgets(line, sizeof line, stdin))
                return 0;
            obey(line);
        }
    }
}
