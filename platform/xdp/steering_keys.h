/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys of the maps that the XDP program and the forwarder share. C, because the program is. */
#ifndef SIMPLON_PLATFORM_XDP_STEERING_KEYS_H
#define SIMPLON_PLATFORM_XDP_STEERING_KEYS_H

#include <linux/types.h>

/* Chosen by us: no known host has more receive queues or local addresses in use. */
#define SIMPLON_XDP_MAX_QUEUES 256
#define SIMPLON_XDP_MAX_ADDRESSES 4096
/* Chosen by us: packets whose later fragments may be on their way; the oldest is forgotten. */
#define SIMPLON_XDP_MAX_PACKETS 4096
/* Bytes: some 80 messages. */
#define SIMPLON_XDP_TOO_BIG_RING 131072
#define SIMPLON_XDP_TOO_BIG_WORDS 192

/* Network order; an IPv4 address as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
struct simplon_xdp_address {
  __u32 words[4];
};

/* Fragments of one outer IP packet (RFC 791 section 2.3, RFC 8200 section 4.5). */
struct simplon_xdp_packet {
  struct simplon_xdp_address source;
  struct simplon_xdp_address destination;
  __be32 id;
  __u32 protocol;
};

struct simplon_xdp_vtep {
  struct simplon_xdp_address address;
  __be16 port;
  __u16 reserved;
};

/* A frame with these VLAN tags on an interface (its index); outer 0: one tag. `vlan` 0 stands for every tag inside the outer
 * one, so that what is in nobody's VLAN there is dropped by the forwarder, with a count. */
struct simplon_xdp_circuit {
  __u32 interface;
  __u16 outer_vlan;
  __u16 vlan;
};

/* A message about the MTU of a path: `bytes` of it, from the IP header on. */
struct simplon_xdp_too_big {
  __u32 bytes;
  __u32 reserved;
  __u64 words[SIMPLON_XDP_TOO_BIG_WORDS];
};

#endif
