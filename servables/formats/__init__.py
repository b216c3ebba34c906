"""One small module a model format, each an adapter (`servables.base.Adapter`)."""
