"""What a cleaning counts, and how it is told: the report page, the story of one document."""
