"""The production line: recipes, orders, the unit store, keystores and the campaign that drives a lot through them."""
