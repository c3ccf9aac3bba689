"""The report of an audit: JSON, JUnit, a comparison with an earlier one, and a page."""
