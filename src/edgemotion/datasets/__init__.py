"""Where images come from (sources), how they lie in an archive (layouts), and the arrays they become."""
