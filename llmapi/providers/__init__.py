"""providers: talk to one vendor each, and nothing more; alone knows LangChain, and imports it when first asked.

gemini (Gemini), openai (OpenAIFormat: every vendor that speaks OpenAI's format), catalog (Catalog: which model a name
stands for), transport (Transport: the one way to the network), failures (classify), embeddings and local (the models
that ship with us). May import: core.
"""
