"""edgemotion: small, fast, trustworthy facial-emotion classifiers for edge devices."""
