/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Later fragments have no ports: they go where the first one of their packet went. One that overtakes its first goes to the
 * kernel, where a packet that is ours never becomes whole; senders and networks keep fragments in order, nearly always.
 */
#ifndef SIMPLON_PLATFORM_XDP_FRAGMENTS_BPF_H
#define SIMPLON_PLATFORM_XDP_FRAGMENTS_BPF_H

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SIMPLON_XDP_MAX_PACKETS);
  __type(key, struct simplon_xdp_packet);
  __type(value, __u8);
} fragmented SEC(".maps");

/* `first_is_ours`: of a first fragment, whether a whole packet that begins like it would be ours. */
static __always_inline int fragment_is_ours(const struct simplon_xdp_packet* packet, int first, int first_is_ours) {
  if (!first) return bpf_map_lookup_elem(&fragmented, packet) != 0;
  const __u8 one = 1;
  if (first_is_ours) {
    bpf_map_update_elem(&fragmented, packet, &one, BPF_ANY);
  } else {
    /* The identification is used again, for IKE perhaps. */
    bpf_map_delete_elem(&fragmented, packet);
  }
  return first_is_ours;
}

#endif
