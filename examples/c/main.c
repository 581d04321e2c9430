/* Reads images of 784 grey values (one byte each, light digit on dark) from a file and prints the
 * digit and the ten logits of each. The same program runs on a computer and, with startup.c and
 * board.ld, on a Cortex-M3, where files are those of the debugger (semihosting).
 *
 *   tiny-mnist export runs/2026-… --format c --out tiny-mnist.c
 *   cc -std=c99 -O2 -o digits main.c tiny-mnist.c && ./digits images.raw
 */
#include <stdint.h>
#include <stdio.h>

int tiny_mnist_predict(const uint8_t image[28 * 28], int32_t logits[10]);

int main(int argc, char **argv) {
  static uint8_t image[28 * 28];
  int32_t logits[10];
  FILE *images = fopen(argc > 1 ? argv[1] : "images.raw", "rb");
  if (images == NULL) {
    fprintf(stderr, "cannot open the file of images\n");
    return 1;
  }
  while (fread(image, sizeof image, 1, images) == 1) {
    const int digit = tiny_mnist_predict(image, logits);
    printf("%d:", digit);
    for (int i = 0; i < 10; i++) printf(" %ld", (long)logits[i]);
    printf("\n");
  }
  fclose(images);
  return 0;
}
