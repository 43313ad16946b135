"""Where machines come from: one module or package per provider. `docs/providers.md` teaches writing one."""
