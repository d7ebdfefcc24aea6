"""Synchronous, callback-based client for Bybit's Copy Trading WebSocket API."""
