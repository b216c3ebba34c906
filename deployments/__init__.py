"""What runs as Ray Serve deployments: gateway, stage, control. The rooms below do not know Ray."""
