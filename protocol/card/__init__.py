"""What cards say: APDUs, TLV, ATR, scripts and authentication (ISO/IEC 7816)."""
