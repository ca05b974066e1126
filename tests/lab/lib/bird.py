# SPDX-License-Identifier: GPL-2.0-or-later
"""BIRD, as the BGP speaker of an on-premises router."""
import re

from .expect import expect

CONFIGURATION = """
router id {router_id};
protocol device {{ scan time 5; }}
protocol kernel k4 {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
protocol kernel k6 {{ ipv6 {{ import none; export where source = RTS_BGP; }}; }}
protocol direct lan4 {{ ipv4; interface "{lan}"; }}
protocol direct lan6 {{ ipv6; interface "{lan}"; }}
{bfd}
{sessions}
"""

SESSION = """
protocol bgp {name} {{
  local {local} as {asn};
  neighbor {neighbor} as {neighbor_asn};
  direct;
  hold time 30; connect retry time 2; connect delay time 1; error wait time 1,4;
  {password}
  {use_bfd}
  ipv4 {{ import all; export where proto = "lan4"; {next_hop4} }};
  {ipv6}
}}
"""


class Bird:
    def __init__(self, space, *, router_id, lan, local, asn, neighbor, neighbor_asn, password=None, bfd=None,
                 ipv6=False, also=()):
        """`also`: (name, local, neighbor) of more sessions with the same AS."""
        self.space = space
        folder = space.lab.dir / space.short
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = folder / "bird.ctl"
        configuration = folder / "bird.conf"
        sessions = "".join(SESSION.format(
            name=name, local=ours, asn=asn, neighbor=theirs, neighbor_asn=neighbor_asn,
            password=f'password "{password}";' if password else "", use_bfd="bfd on;" if bfd else "", next_hop4="",
            ipv6='ipv6 { import all; export where proto = "lan6"; };' if ipv6 else "")
            for name, ours, theirs in (("up", local, neighbor), *also))
        configuration.write_text(CONFIGURATION.format(
            router_id=router_id, lan=lan, sessions=sessions,
            bfd=f'protocol bfd {{ interface "{bfd}" '
                "{ min rx interval 300 ms; min tx interval 300 ms; multiplier 3; }; }" if bfd else ""))
        self.process = space.spawn(["bird", "-f", "-c", configuration, "-s", self.socket])
        expect(lambda: "BIRD" in self.ask("show", "status"), 5, f"{space.short}: BIRD answers")

    def ask(self, *words):
        return self.space.out("birdc", "-s", self.socket, *words, quiet=True)

    def established(self, name="up"):
        return re.search(rf"^{name}\s.*Established", self.ask("show", "protocols"), re.MULTILINE) is not None

    def up_since(self):
        """{session: second of the day}"""
        lines = re.findall(r"^(\S+)\s+BGP\s+\S+\s+up\s+(\d+):(\d+):(\d+\.\d+)\s+Established", self.ask("show", "protocols"), re.MULTILINE)
        return {name: int(hours) * 3600 + int(minutes) * 60 + float(seconds) for name, hours, minutes, seconds in lines}

    def assert_kept(self, before):
        """All sessions of `before` (up_since) and no others, never reset. BIRD reckons the time anew for each answer: it may be a millisecond off."""
        now = self.up_since()
        assert before and now.keys() == before.keys() and all(abs(now[name] - since) < 0.1 for name, since in before.items()), \
            f"a BGP session was reset: {before} became {now}"

    def learned(self, name="up"):
        """Prefixes the neighbor announced and BIRD accepted."""
        return sorted(re.findall(r"^([0-9a-f:.]+/\d+)", self.ask("show", "route", "protocol", name), re.MULTILINE))

    def wait_established(self, within=30):
        expect(self.established, within, f"{self.space.short}: BGP session established")

    def stop(self):
        self.process.stop()
