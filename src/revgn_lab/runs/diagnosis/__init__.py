"""What training does to a network, recorded while it goes on: Lightning callbacks that work in any trainer."""
