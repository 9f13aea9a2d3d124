"""All that knows SQL engines: tables, the Store, migrations, JSON access."""
