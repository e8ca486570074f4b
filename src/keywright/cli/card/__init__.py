"""`keywright card`: look at a card, and change what is on it. One module for each topic; `verbs` has them all."""
