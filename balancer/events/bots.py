"""Which clients are programs, by what they call themselves."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = (
    r"bot\b|bot[/;_-]|robot|crawl|spider|slurp|archiver|scrap|fetcher|preview|monitor|uptime|pingdom|statuscake|checker"
    r"|validator|lighthouse|pagespeed|headless|phantomjs|facebookexternalhit|whatsapp|telegrambot|embedly|quora link"
    r"|mediapartners|adsbot|bingpreview|feed|rss|wget|curl|libwww|lwp|python-|aiohttp|httpx|go-http-client|okhttp"
    r"|java/|apache-http|axios|node-fetch|undici|guzzle|postman|insomnia|ruby|perl|scrapy|nikto|sqlmap|masscan|zgrab"
    r"|censys|nmap|kube-probe|googlehc|elb-health|prometheus|blackbox|datadog|newrelic|gptbot|claudebot|ccbot"
    r"|perplexity|bytespider|petalbot|semrush|ahrefs|dotbot|mj12|yandex|baidu|sogou|duckduck|applebot"
)
_BOT: Final = re.compile(_WORDS.encode(), re.IGNORECASE)
LONGEST: Final = 300
"""Bytes of a user agent that are looked at."""
MOST: Final = 5000
"""User agents that are remembered."""


class Bots:
    """Remembers what it has made of a user agent: browsers repeat theirs."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def is_one(self, agent: bytes) -> bool:
        """Also who says nothing."""
        agent = agent[:LONGEST]
        found = self._known.get(agent)
        if found is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[agent] = is_bot(agent)
        return found


def is_bot(agent: bytes) -> bool:
    """By words that programs have in their names. A program that calls itself a browser is taken for one."""
    return not agent.strip() or _BOT.search(agent) is not None
