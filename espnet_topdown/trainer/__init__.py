"""What our trainer adds to ESPnet's, one small module for each addition."""
