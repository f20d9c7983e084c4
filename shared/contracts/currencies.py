"""The currencies that amounts can be in: ISO 4217, by their alphabetic codes.

Source: list one of ISO 4217 as of 2026-01-01 (SIX, https://www.six-group.com/en/products-services/financial-information/data-standards.html),
without the codes that have no minor unit (precious metals, units of account, XTS, XXX): money is in minor units here.
"""

from typing import Final

_ACTIVE: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE
CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF
GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR
LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN
PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS
TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF YER
ZAR ZMW ZWG
"""
_WITHDRAWN: Final = "ANG BGN BYR CUC HRK LTL MRO SLL STD VEF ZWL"

ACTIVE: Final = frozenset(_ACTIVE.split())
WITHDRAWN: Final = frozenset(_WITHDRAWN.split())
"""Withdrawn since 2015: orders of those years are still imported, and corrected."""

CURRENCIES: Final = ACTIVE | WITHDRAWN
