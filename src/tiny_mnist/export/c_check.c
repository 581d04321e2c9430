/* Reads images of 784 bytes from standard input and writes ten int32 logits for each. */
#include <stdint.h>
#include <stdio.h>

int tiny_mnist_predict(const uint8_t image[28 * 28], int32_t logits[10]);

int main(void) {
  uint8_t image[28 * 28];
  int32_t logits[10];
  while (fread(image, sizeof image, 1, stdin) == 1) {
    tiny_mnist_predict(image, logits);
    fwrite(logits, sizeof logits, 1, stdout);
  }
  return 0;
}
