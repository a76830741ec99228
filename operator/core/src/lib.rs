//! From Kubernetes objects to NGINX configuration.
