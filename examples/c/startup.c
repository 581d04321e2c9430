/* What a Cortex-M3 needs before main(): the vector table, whose first two words are the stack and
 * the program's start. newlib's _start (rdimon.specs) clears .bss and calls main() with the
 * arguments of the debugger. */
#include <stdint.h>

extern uint32_t stack_top;
void _start(void);

static void stop(void) {
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
  &stack_top, _start, stop, stop, stop, stop, stop, stop,
  stop, stop, stop, stop, stop, stop, stop, stop,
};
