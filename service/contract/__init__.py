"""Types that cross HTTP, Redis or disk. Pydantic, frozen, documented field by field."""
