"""What the balancer says of itself: metrics for Prometheus, figures for the admin API, and its two logs."""
