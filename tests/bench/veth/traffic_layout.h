/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that traffic.bpf.c and generator.cpp share. C, because the BPF program is. */
#ifndef SIMPLON_TESTS_BENCH_VETH_TRAFFIC_LAYOUT_H
#define SIMPLON_TESTS_BENCH_VETH_TRAFFIC_LAYOUT_H

#include <linux/types.h>

#define TRAFFIC_BATCH 64u
#define TRAFFIC_TEMPLATES 1024u /* a power of two */
#define TRAFFIC_HEADER 128u     /* bytes of each frame that are written anew, */
#define TRAFFIC_SHORT_HEADER 64u /* or so many of a shorter one */
#define TRAFFIC_CAPTURES 64u
#define TRAFFIC_SAMPLE 8192u    /* one frame of so many is captured, after the first ones */
#define TRAFFIC_STAMP_AT 96u    /* where the time of departure stands, if asked for: payload of the inner packet */
#define TRAFFIC_DELAYS 8192u    /* so many classes of delay, the last for all that are longer */
#define TRAFFIC_DELAY_NS 250u   /* width of a class */

struct traffic_template {
  __u64 words[TRAFFIC_HEADER / 8];
};

/* Written by `generate` only. Times cover the frames [first_frame, last_frame). */
struct traffic_sent {
  __u64 frames;
  __u64 first_ns, last_ns;
  __u64 first_frame, last_frame;
  __u64 waited_ns;
  __u64 stalls; /* times that the window did not open */
  __u64 lost;   /* frames given up at the latest stall */
} __attribute__((aligned(128)));

struct traffic_received {
  __u64 wanted; /* with the destination and protocol asked for */
  __u64 bytes;
  __u64 other;
} __attribute__((aligned(128)));

struct traffic_capture {
  __u32 length; /* 0: nothing */
  __u32 tag;    /* type and contents of the VLAN tag that the kernel took out; 0: none */
  __u8 bytes[2040];
};

#endif
