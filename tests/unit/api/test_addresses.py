"""Addresses are known for what they are, however they are written."""

from __future__ import annotations

import ipaddress

import pytest

from airflow_provider_oxen.api.addresses import is_here, kind, literal

HERE = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "hub.localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "127.0.0.1",
    "127.8.9.10",
    "127.0.0.1.",
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0X7F000001",
    "2130706433",
    "::1",
    "[::1]",
    "0:0:0:0:0:0:0:1",
    "::1%lo",
    "::ffff:127.0.0.1",
    "[::ffff:7f00:1]",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "0.0.0.0",
    "0",
    "::",
]


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_known_in_any_spelling(host):
    assert is_here(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "hub.oxen.ai",
        "localhost.example",
        "notlocalhost",
        "127.0.0.1.example",
        "10.0.0.7",
        "::2",
        "256.1",
        "0x1.2.3.4.5",
        "127.0.0.256",
    ],
)
def test_no_other_host_is(host):
    assert not is_here(host)


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1", "public"),
        ("127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.1", "public"),
        ("192.168.1.1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("64:ff9b:1::8.8.8.8", "reserved"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:8.8.8.8", "public"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::8.8.8.8", "public"),
        ("::ffff:0:10.0.0.1", "private"),
        ("::10.0.0.1", "private"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("2002:808:808::1", "public"),
    ],
)
def test_kind(address, leads_to):
    assert kind(ipaddress.ip_address(address)) == leads_to


def test_name_is_no_address():
    assert literal("hub.oxen.ai") is None
    assert literal("cafe.example") is None
    assert literal("256.0.0.1") is None
