"""`bench train`: the paper's recipe, of timm's parts."""
