"""The figures of a report: what each shows, as a table, and the one pen that draws them for pages and for papers."""
