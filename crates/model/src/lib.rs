//! Models behind one trait: the local engine, OpenAI-compatible servers, scripted models.
