"""What needs torch: networks, losses and the loop. Nothing outside imports this before a fit."""
