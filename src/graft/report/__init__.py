"""Reports: records in, pages for people out. No torch, nothing computed anew."""
