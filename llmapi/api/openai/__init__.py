"""api/openai: the doors that speak OpenAI's language, for the official SDK as it is.

One file a door; errors and headers are shared by all, stream by those that send events. A door is a translation: the
work is done by the same tasks as behind our own doors. May import what api may.
"""
