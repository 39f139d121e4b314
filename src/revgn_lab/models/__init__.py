"""Models of tables: trained with nothing to choose, kept in folders that run no code, and used."""
