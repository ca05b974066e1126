/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Part of the XDP program of an uplink: frames with the VLAN tags of a circuit are ours, whatever is in them. Tags that the
 * network card took out of the frame are not seen: the forwarder switches that off (ethtool -K INTERFACE rxvlan off). */
#ifndef SIMPLON_PLATFORM_XDP_CIRCUIT_STEERING_BPF_H
#define SIMPLON_PLATFORM_XDP_CIRCUIT_STEERING_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "platform/xdp/steering_keys.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SIMPLON_XDP_MAX_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct simplon_xdp_circuit);
  __type(value, __u8);
} circuits SEC(".maps");

struct vlan_tag {
  __be16 control;
  __be16 type; /* of what follows */
};

#define VLAN_IDENTIFIER 0x0fff

static __always_inline int is_tagged(__be16 type) {
  return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/* `ethernet` is whole and has a tag. */
static __always_inline int is_circuit(const struct ethhdr* ethernet, void* end, __u32 interface) {
  const struct vlan_tag* tag = (const void*)(ethernet + 1);
  if ((const void*)(tag + 1) > end) return 0;
  struct simplon_xdp_circuit key = {.interface = interface, .outer_vlan = 0, .vlan = bpf_ntohs(tag->control) & VLAN_IDENTIFIER};
  if (is_tagged(tag->type)) {
    key.outer_vlan = key.vlan;
    key.vlan = 0;
  }
  return bpf_map_lookup_elem(&circuits, &key) != 0;
}

#endif
