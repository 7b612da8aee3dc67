"""The pages on which authors create and edit workflows."""
