"""What happens on the ground: rollouts, losses, teacher, students, evaluation."""
