"""Studies: grids of runs in a table, run by snakemake, resumed after any end."""
