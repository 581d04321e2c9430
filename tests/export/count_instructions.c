/* Prints how many instructions tiny_mnist_predict() executes for the first image of images.raw.
 *
 * qemu -icount shift=0 lets one nanosecond of the board's clock pass with each instruction, so a
 * loop with a known number of instructions tells how many belong to a tick of the timer. */
#include <stdint.h>
#include <stdio.h>

#define SYST_CSR (*(volatile uint32_t *)0xE000E010) /* control */
#define SYST_RVR (*(volatile uint32_t *)0xE000E014) /* start value */
#define SYST_CVR (*(volatile uint32_t *)0xE000E018) /* counts down from there */
#define TICKS 0xFFFFFF

int tiny_mnist_predict(const uint8_t image[28 * 28], int32_t logits[10]);

int main(void) {
  static uint8_t image[28 * 28];
  int32_t logits[10];
  FILE *images = fopen("images.raw", "rb");
  if (images == NULL || fread(image, sizeof image, 1, images) != 1) return 1;
  SYST_RVR = TICKS;
  SYST_CVR = 0;
  SYST_CSR = 5; /* on, from the processor's clock, without interrupts */
  while (SYST_CVR == 0) { /* it loads the start value with its first tick */
  }

  uint32_t turns = 2000000;
  uint32_t start = SYST_CVR;
  __asm__ volatile("1: subs %0, #1\n bne 1b" : "+r"(turns) : : "cc");
  const uint32_t known = start - SYST_CVR; /* ticks of 4,000,000 instructions */

  start = SYST_CVR;
  tiny_mnist_predict(image, logits);
  const uint32_t measured = start - SYST_CVR;
  printf("%lu\n", (unsigned long)((uint64_t)measured * 4000000 / known));
  return 0;
}
