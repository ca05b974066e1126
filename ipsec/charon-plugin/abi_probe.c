/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints the offsets that kernel_ipsec_register uses, as our reading of the headers has them; for check-abi. */
#include <daemon.h>
#include <stddef.h>
#include <stdio.h>

int main(void) {
  printf("%zu %zu %zu\n", offsetof(daemon_t, kernel), offsetof(kernel_interface_t, add_ipsec_interface),
         offsetof(kernel_interface_t, remove_ipsec_interface));
  return 0;
}
