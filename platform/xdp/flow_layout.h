/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flow table that the forwarder fills and the XDP programs of all uplinks read. C, because they are. See
   docs/adr/ for why it looks like this, and flow_table.h for who writes what when. */
#ifndef SIMPLON_PLATFORM_XDP_FLOW_LAYOUT_H
#define SIMPLON_PLATFORM_XDP_FLOW_LAYOUT_H

#include <linux/types.h>

/* Chosen by us, powers of two. Four flows share a bucket: 65,536 flows in 8 MiB, and 4 MiB of IPv6 addresses. */
#define SIMPLON_XDP_WAYS 4
#define SIMPLON_XDP_BUCKETS 16384
#define SIMPLON_XDP_FLOWS (SIMPLON_XDP_WAYS * SIMPLON_XDP_BUCKETS)
/* Attachments share generations by some bits of their id: an invalidation may take another's flows along. */
#define SIMPLON_XDP_GENERATIONS 16384
/* Pairs of attachments with flows between them, by uplink: what is counted apart. */
#define SIMPLON_XDP_LANES 8192
#define SIMPLON_XDP_EGRESSES 256
/* Different ways to deal out buckets of flows to the nexthops of a route. */
#define SIMPLON_XDP_SPREADS 1024
/* Bytes; what is not read in time is not reported. */
#define SIMPLON_XDP_SAMPLE_RING 8192

/* Kinds of `ingress` and `action`. */
#define SIMPLON_XDP_VXLAN 0u  /* over IPv4 */
#define SIMPLON_XDP_VXLAN6 1u /* over IPv6 */
#define SIMPLON_XDP_TAGGED 2u /* one VLAN tag or two */
/* Of `action` only: the route has several nexthops, and a flow of its own for each that may be needed. */
#define SIMPLON_XDP_SPREAD 3u

/* What a packet is recognized by, all in network order but `uplink` and `ingress`. IPv4 addresses stand in word 0, the
   others are 0. A VPC has its sources, a circuit may have any: `source` of what is tagged is 0. */
struct simplon_xdp_flow_key {
  __u32 uplink;       /* interface index */
  __u32 ingress;      /* VNI, or outer VLAN (12 bits, 0: none) and VLAN (12 bits); the inner family; which of several
                         nexthops (0: the route's only one, or where their flows are found); the kind */
  __u32 outer_source; /* VTEP; of an IPv6 one simplon_xdp_fold; tagged: 0 */
  __u32 source[4];
  __u32 destination[4];
};
#define SIMPLON_XDP_INGRESS_ID 0xffffffu
#define SIMPLON_XDP_INGRESS_IPV6 (1u << 24)
#define SIMPLON_XDP_INGRESS_MEMBER 25
#define SIMPLON_XDP_MEMBERS 31u
#define SIMPLON_XDP_INGRESS_KIND 30

/* A flow: what else its packets must have, and what to make of them. Never changed while a program may read it. One
   cache line is read to find it, the other to use it. */
struct simplon_xdp_flow {
  __u64 generation; /* of its ingress attachment when it was made; never 0 */
  struct simplon_xdp_flow_key key;
  __u32 lane; /* SIMPLON_XDP_SPREAD: which of the spreads, and nothing of how its packets will be */
  __u16 egress;
  __u16 mtu;          /* inner IP bytes */
  __u16 vtep_port[2]; /* UDP destination port, network order: as it must be, as it will be */
  /* As it must be. */
  __u32 vtep;          /* outer destination, IPv4 */
  __u8 uplink_mac[6];  /* Ethernet destination */
  __u8 gateway_mac[6]; /* inner one */
  /* As it will be. */
  __u8 ethernet[12];
  __u32 outer_source; /* IPv4 */
  __u32 outer_destination;
  __u32 checksum; /* sum over what is the same in every outer IPv4 header; over IPv6, in what UDP's checksum covers */
  __u32 vni;      /* as in the VXLAN header */
  __u8 inner_ethernet[12];
  __u8 action; /* a kind */
  __u8 reserved;
  __u16 outer_type; /* tags in network order; 0: there is no outer one */
  __u16 outer_vlan;
  __u16 vlan;
};

/* The IPv6 addresses of a flow that comes or leaves over IPv6; at the same place of an array of their own. */
struct simplon_xdp_addresses6 {
  /* As they must be. */
  __u32 peer[4]; /* outer source */
  __u32 vtep[4];
  /* As they will be. */
  __u32 outer_source[4];
  __u32 outer_destination[4];
};

/* By the bucket of a packet's flow hash (bucket_of in forward_other.bpf.h, the worker's EcmpGroup::bucket), which nexthop it
   takes; 0: one of the worker's. Never changed while a flow leads here that a program may read. */
struct simplon_xdp_spread {
  __u8 members[256];
};

/* A packet that has no flow. */
struct simplon_xdp_sample {
  struct simplon_xdp_flow_key key;
  __u32 outer_source[4]; /* whole */
};

/* Of one CPU. Bytes are those of inner IP packets, and of the frames as they came. */
struct simplon_xdp_lane {
  __u64 packets;
  __u64 inner_bytes;
  __u64 frame_bytes;
};

static inline __attribute__((always_inline)) __u64 simplon_xdp_stir(__u64 hash, __u64 word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
  return hash ^ (hash >> 29);
}

static inline __attribute__((always_inline)) __u64 simplon_xdp_pair(__u32 high, __u32 low) {
  __u64 word = high;
  return word << 32 | low;
}

/* The low bits are the bucket, the top 16 the tag. `seed`: a secret of the process, so that nobody can aim at a bucket.
 */
static inline __attribute__((always_inline)) __u64 simplon_xdp_hash(__u64 seed,
                                                                    const struct simplon_xdp_flow_key* key) {
  __u64 hash = simplon_xdp_stir(seed, simplon_xdp_pair(key->ingress, key->outer_source));
  hash = simplon_xdp_stir(hash, simplon_xdp_pair(key->source[0], key->destination[0]));
  if (key->ingress & SIMPLON_XDP_INGRESS_IPV6) {
    hash = simplon_xdp_stir(hash, simplon_xdp_pair(key->source[1], key->destination[1]));
    hash = simplon_xdp_stir(hash, simplon_xdp_pair(key->source[2], key->destination[2]));
    hash = simplon_xdp_stir(hash, simplon_xdp_pair(key->source[3], key->destination[3]));
  }
  return simplon_xdp_stir(hash, key->uplink);
}

/* Generations are found by it. */
static inline __attribute__((always_inline)) __u32 simplon_xdp_slot(__u32 ingress) {
  return (ingress ^ (ingress >> SIMPLON_XDP_INGRESS_KIND << 12)) & (SIMPLON_XDP_GENERATIONS - 1);
}

/* Of an IPv6 address, 32 bits: two VTEPs that share it share one place for the flow of two hosts, which only one of them gets. */
static inline __attribute__((always_inline)) __u64 simplon_xdp_fold(const __u32* address) {
  __u64 hash = simplon_xdp_stir(0, simplon_xdp_pair(address[0], address[1]));
  hash = simplon_xdp_stir(hash, simplon_xdp_pair(address[2], address[3]));
  return hash >> 32;
}

/* Of the four ways of a bucket, in a word: 16 bits each; 0 is free. */
static inline __attribute__((always_inline)) __u64 simplon_xdp_tag(__u64 hash) { return (hash >> 48) | 1; }

#endif
