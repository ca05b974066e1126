// SPDX-License-Identifier: GPL-2.0-or-later
//
// The traffic of the veth benchmark: `generate` makes frames, `count` receives what the device under test sends,
// `discard` is the device under test of the baseline. See generator.cpp for how they are run.
#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/bench/veth/traffic_layout.h"

// Set before loading.
volatile const __u32 out_ifindex;
volatile const __u64 template_mask;
volatile const __u64 window;       // frames that may be under way; 0: no limit
volatile const __u64 warm_frames;  // sent before the clock starts
volatile const __u8 short_frames;  // only TRAFFIC_SHORT_HEADER bytes are written anew
volatile const __u32 wanted_destination;  // IPv4, network order
volatile const __u32 wanted_mask;
volatile const __u8 wanted_protocol;

volatile const __u32 batch = TRAFFIC_BATCH;  // frames
volatile const __u64 gap_ns;      // from the start of a batch to that of the next; 0: none
volatile const bool stamp;        // write the time of departure into each frame, sort arrivals by their delay

struct traffic_template templates[TRAFFIC_TEMPLATES];
struct traffic_sent sent;
struct traffic_received received;
struct traffic_received discarded;
__u64 due_ns;
__u64 delays[TRAFFIC_DELAYS];

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, TRAFFIC_CAPTURES);
  __type(key, __u32);
  __type(value, struct traffic_capture);
} captures SEC(".maps");

#define WAIT_TURNS (1u << 22)   // some 20 ms
#define TURNS_PER_LOOK 1024u    // some microseconds: looking takes the counter's cache line away from the receiving core

static bool room_for_a_batch(void) {
  __u64 arrived = *(volatile __u64*)&received.wanted;
  return sent.frames + batch <= arrived + sent.lost + window;
}

static long wait_turn(__u32 turn, void* unused) { return room_for_a_batch() ? 1 : 0; }

static long gap_turn(__u32 turn, void* unused) { return bpf_ktime_get_ns() >= due_ns ? 1 : 0; }

// At a steady rate; after a pause, whatever caused it, nothing is made up for.
static __always_inline void keep_gap(void) {
  bpf_loop(WAIT_TURNS, gap_turn, (void*)0, 0);
  due_ns = bpf_ktime_get_ns() + gap_ns;
}

// Before each batch: what is under way stays within the window, so that no ring on the way overflows and the device under
// test sets the pace. The time spent waiting is not work and is counted apart.
static __always_inline void start_batch(void) {
  __u64 now = bpf_ktime_get_ns();
  if (window != 0 && !room_for_a_batch()) {
    bpf_loop(WAIT_TURNS, wait_turn, (void*)0, 0);
    if (!room_for_a_batch()) {
      // Frames that did not come back in some milliseconds never will.
      sent.stalls++;
      sent.lost = sent.frames - *(volatile __u64*)&received.wanted;
    }
    __u64 then = now;
    now = bpf_ktime_get_ns();
    if (sent.frames > warm_frames) {
      sent.waited_ns += now - then;
    }
  }
  if (sent.frames <= warm_frames) {
    sent.first_ns = now;
    sent.first_frame = sent.frames;
  }
  sent.last_ns = now;
  sent.last_frame = sent.frames;
}

// Frames come back to the pool with what the device under test wrote into them: each header is written anew.
SEC("xdp")
int generate(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  if (data + TRAFFIC_SHORT_HEADER > end || (!short_frames && data + sizeof(struct traffic_template) > end)) {
    return XDP_ABORTED;
  }
  if (batch != 0 && sent.frames % batch == 0) {
    if (gap_ns != 0) {
      keep_gap();
    }
    start_batch();
  }
  __u64 index = sent.frames & template_mask & (TRAFFIC_TEMPLATES - 1);
  if (short_frames) {
    __builtin_memcpy(data, &templates[index], TRAFFIC_SHORT_HEADER);
  } else if (data + sizeof(struct traffic_template) <= end) {
    *(struct traffic_template*)data = templates[index];
    if (stamp) {
      *(__u64*)(data + TRAFFIC_STAMP_AT) = bpf_ktime_get_ns();
    }
  }
  sent.frames++;
  return (int)bpf_redirect(out_ifindex, 0);
}

static __always_inline void capture(struct __sk_buff* skb, __u64 number) {
  // The first frames, then a sample of the others.
  __u32 slot = TRAFFIC_CAPTURES;
  if (number < TRAFFIC_CAPTURES / 2) {
    slot = (__u32)number;
  } else if (number % TRAFFIC_SAMPLE == 0) {
    slot = TRAFFIC_CAPTURES / 2 + (__u32)(number / TRAFFIC_SAMPLE) % (TRAFFIC_CAPTURES / 2);
  }
  if (slot >= TRAFFIC_CAPTURES) {
    return;
  }
  struct traffic_capture* into = bpf_map_lookup_elem(&captures, &slot);
  __u32 length = skb->len;
  if (into == (void*)0 || length < 1 || length > sizeof(into->bytes)) {
    return;
  }
  if (bpf_skb_load_bytes(skb, 0, into->bytes, length) == 0) {
    into->length = length;
    into->tag = skb->vlan_present ? (__u32)bpf_ntohs((__u16)skb->vlan_proto) << 16 | skb->vlan_tci : 0;
  }
}

SEC("tc")
int count(struct __sk_buff* skb) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  struct ethhdr* ethernet = data;
  struct iphdr* ip = data + sizeof(*ethernet);
  if ((void*)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || (ip->daddr & wanted_mask) != wanted_destination ||
      ip->protocol != wanted_protocol) {
    __sync_fetch_and_add(&received.other, 1);
    return TC_ACT_SHOT;
  }
  if (stamp) {
    __u64 departed = 0;
    if (received.wanted >= warm_frames && bpf_skb_load_bytes(skb, TRAFFIC_STAMP_AT, &departed, sizeof(departed)) == 0) {
      __u64 class = (bpf_ktime_get_ns() - departed) / TRAFFIC_DELAY_NS;
      if (class >= TRAFFIC_DELAYS) {
        class = TRAFFIC_DELAYS - 1;
      }
      __sync_fetch_and_add(&delays[class & (TRAFFIC_DELAYS - 1)], 1);
    }
  } else {
    capture(skb, received.wanted);
  }
  __sync_fetch_and_add(&received.bytes, skb->len);
  __sync_fetch_and_add(&received.wanted, 1);
  return TC_ACT_SHOT;
}

SEC("xdp")
int discard(struct xdp_md* ctx) {
  discarded.wanted++;
  return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
